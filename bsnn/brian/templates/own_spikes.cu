{# A group that writes its spikes itself. Brian2CUDA's spike space holds the spikes in any order, then
   -1, and last their number. #}
{% extends 'common_group.cu' %}
{# what belongs to another group's variables may write into a pool's spike space #}
{% set _written = variables['_pool_spikespace'] if '_pool_spikespace' in variables else variables['_spikespace'] %}
{% set _spikespace_name = get_array_name(_written, access_data=False) %}
{# there are several, used in turn, if a brian2.Synapses with a delay has the group as its source #}
{% set _device_spikes = 'dev' ~ _spikespace_name ~ '[current_idx' ~ _spikespace_name ~ ']' %}

{% block clear_spikes %}
    CUDA_SAFE_CALL(
        cudaMemsetAsync({{_device_spikes}}, 0xFF, {{_written.size - 1}} * sizeof(int32_t))
        );
    CUDA_SAFE_CALL(
        cudaMemsetAsync(&{{_device_spikes}}[{{_written.size - 1}}], 0, sizeof(int32_t))
        );
{% endblock %}

{% block after_run_host_maincode %}
    {{ self.clear_spikes()|indent(4) }}
{% endblock %}
