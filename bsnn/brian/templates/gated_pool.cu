{# USES_VARIABLES { N, _spikespace, _pool_spikespace, _spiking, _row_elements, _column_elements } #}
{# First a thread a spike marks the neurons that spike, then a thread a pooled neuron compares the keys
   of its window, if any neuron of it spikes. The place of a spike in the list comes from an atomicAdd,
   so that the list is in any order. #}
{% extends 'own_spikes.cu' %}
{# in a batch, images lie one after another #}
{% set _pooled_within = '_pooled_within' if _g.batch > 1 else '_pooled' %}
{% set _neurons_before = ' + _image * %d' % _g.image_size if _g.batch > 1 else '' %}
{% set _marks = 'dev' ~ get_array_name(variables['_spiking'], access_data=False) %}

{% block kernel %}
__global__ void _mark_{{codeobj_name}}(
    %KERNEL_PARAMETERS%
    )
{
    using namespace brian;
    %KERNEL_CONSTANTS%
    {{kernel_lines|autoindent}}
    const int32_t _num_spikes = {{_spikespace}}[{{_g.source_size}}];
    for (int32_t _s = blockIdx.x * blockDim.x + threadIdx.x; _s < _num_spikes; _s += gridDim.x * blockDim.x)
        {{_spiking}}[{{_spikespace}}[_s]] = true;
}

{{ super() }}
{% endblock kernel %}

{# a thread for each neuron of the pool, not of the source, whose variables the key is read from #}
{% block define_N %}
    const int _N = {{_g.pool_size}};
{% endblock %}

{% block kernel_maincode %}
    if ({{_spikespace}}[{{_g.source_size}}] == 0) return;
    const int32_t _pooled = _idx;
    {% if _g.batch > 1 %}
    const int32_t _image = _pooled / {{_g.image_windows}};
    const int32_t _pooled_within = _pooled - _image * {{_g.image_windows}};
    {% endif %}
    const int32_t _c = {{_pooled_within}} % {{_g.pooled_channels}};
    const int32_t _window = {{_pooled_within}} / {{_g.pooled_channels}};
    const int32_t* const _ys = {{_row_elements}} + _window / {{_g.pooled_width}} * {{_g.row_elements}};
    const int32_t* const _xs = {{_column_elements}} + _window % {{_g.pooled_width}} * {{_g.column_elements}};
    {{scalar_code|autoindent}}
    // of equal keys the first counts
    int32_t _winner = -1;
    double _largest = 0;
    for (int32_t _r = 0; _r < {{_g.row_elements}}; _r++)
    {
        if (_ys[_r] < 0) continue;
        for (int32_t _q = 0; _q < {{_g.column_elements}}; _q++)
        {
            if (_xs[_q] < 0) continue;
            const int32_t _idx = (_ys[_r] * {{_g.pooled_from_width}} + _xs[_q]) * {{_g.pooled_channels}} + _c{{_neurons_before}};
            const int32_t _vectorisation_idx = _idx;
            {{vector_code|autoindent}}
            if (_winner < 0 || _key > _largest)
            {
                _winner = _idx;
                _largest = _key;
            }
        }
    }
    if (_winner >= 0 && {{_spiking}}[_winner])
        {{_pool_spikespace}}[atomicAdd(&{{_pool_spikespace}}[{{_g.pool_size}}], 1)] = _pooled;
{% endblock %}

{% block extra_kernel_call %}
    {{ self.clear_spikes()|indent(4) }}
    CUDA_SAFE_CALL(
        cudaMemsetAsync({{_marks}}, 0, {{_g.source_size}} * sizeof(bool))
        );
    _mark_{{codeobj_name}}<<<8 * num_parallel_blocks, 256>>>(
            %HOST_PARAMETERS%
        );
    CUDA_CHECK_ERROR("_mark_{{codeobj_name}}");
{% endblock %}
