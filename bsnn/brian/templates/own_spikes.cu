{# A group that writes its spikes itself. Brian2CUDA's spike space holds the spikes in any order, then
   -1, and last their number. #}
{% extends 'common_group.cu' %}
{# what belongs to another group's variables may write into a pool's spike space #}
{% set _written = variables['_pool_spikespace'] if '_pool_spikespace' in variables else variables['_spikespace'] %}
{% set _spikespace_name = get_array_name(_written, access_data=False) %}
{# there are several, used in turn, if a brian2.Synapses with a delay has the group as its source #}
{% set _device_spikes = 'dev' ~ _spikespace_name ~ '[current_idx' ~ _spikespace_name ~ ']' %}

{# Where there is one list only, those of the last step are taken out of it, and no others touched. #}
{% block extra_device_helper %}
__global__ void _clear_{{codeobj_name}}(int32_t* _spikes)
{
    const int32_t _num_spikes = _spikes[{{_written.size - 1}}];
    for (int32_t _s = blockIdx.x * blockDim.x + threadIdx.x; _s < _num_spikes; _s += gridDim.x * blockDim.x)
        _spikes[_s] = -1;
}
{% endblock %}
{% block clear_spikes %}
    static bool _is_new = true;
    if (_is_new || dev{{_spikespace_name}}.size() > 1)
    {
        CUDA_SAFE_CALL(
            cudaMemsetAsync({{_device_spikes}}, 0xFF, {{_written.size - 1}} * sizeof(int32_t))
            );
        _is_new = false;
    }
    else
    {
        _clear_{{codeobj_name}}<<<8 * num_parallel_blocks, 256>>>({{_device_spikes}});
        CUDA_CHECK_ERROR("_clear_{{codeobj_name}}");
    }
    CUDA_SAFE_CALL(
        cudaMemsetAsync(&{{_device_spikes}}[{{_written.size - 1}}], 0, sizeof(int32_t))
        );
{% endblock %}

{% block after_run_host_maincode %}
    CUDA_SAFE_CALL(
        cudaMemsetAsync({{_device_spikes}}, 0xFF, {{_written.size - 1}} * sizeof(int32_t))
        );
    CUDA_SAFE_CALL(
        cudaMemsetAsync(&{{_device_spikes}}[{{_written.size - 1}}], 0, sizeof(int32_t))
        );
{% endblock %}
