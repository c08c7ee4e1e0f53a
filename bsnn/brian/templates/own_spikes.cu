{# A group that writes its spikes itself. Brian2CUDA's spike space holds the spikes in any order, then
   -1, and last their number. #}
{% extends 'common_group.cu' %}
{% set _spikespace_name = get_array_name(variables['_spikespace'], access_data=False) %}
{# there are several, used in turn, if a brian2.Synapses with a delay has the group as its source #}
{% set _device_spikes = 'dev' ~ _spikespace_name ~ '[current_idx' ~ _spikespace_name ~ ']' %}

{% block clear_spikes %}
    CUDA_SAFE_CALL(
        cudaMemsetAsync({{_device_spikes}}, 0xFF, {{owner.N}} * sizeof(int32_t))
        );
    CUDA_SAFE_CALL(
        cudaMemsetAsync(&{{_device_spikes}}[{{owner.N}}], 0, sizeof(int32_t))
        );
{% endblock %}

{% block after_run_host_maincode %}
    {{ self.clear_spikes()|indent(4) }}
{% endblock %}
