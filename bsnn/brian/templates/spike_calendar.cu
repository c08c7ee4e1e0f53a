{# USES_VARIABLES { N, t_in_timesteps, _start_step, spike_step, _calendar, _first_of_step, _unplaced, _spikespace } #}
{# In the first step of a window, which the host knows, a thread a neuron makes its plan and counts it
   (atomicAdd) to its step; a thread a step finds where the spikes of its step begin; then a thread a
   neuron finds a place among them (atomicSub), in any order. Every step copies its spikes. #}
{% extends 'own_spikes.cu' %}
{% set _timestep = get_array_name(variables['t_in_timesteps'], access_data=False) ~ '[0]' %}
{% set _begin = get_array_name(variables['_start_step'], access_data=False) ~ '[0]' %}
{% block kernel_maincode %}
    {{scalar_code|autoindent}}
    {
        {{vector_code|autoindent}}
    }
    const int32_t _planned_step = {{spike_step}}[_idx];
    if (_planned_step >= 0 && _planned_step < {{_g.window_steps}})
        atomicAdd(&{{_unplaced}}[_planned_step], 1);
{% endblock %}
{% block extra_kernel_definitions %}
__global__ void _begin_steps_{{codeobj_name}}(const int32_t* _unplaced, int32_t* _first)
{
    for (int _k = blockIdx.x * blockDim.x + threadIdx.x; _k <= {{_g.window_steps}}; _k += gridDim.x * blockDim.x)
    {
        int32_t _before = 0;
        for (int _earlier = 0; _earlier < _k; _earlier++)
            _before += _unplaced[_earlier];
        _first[_k] = _before;
    }
}

__global__ void _place_{{codeobj_name}}(
    const int32_t* _spike_step, const int32_t* _first, int32_t* _unplaced, int32_t* _calendar)
{
    const int _i = blockIdx.x * blockDim.x + threadIdx.x;
    if (_i >= {{owner.N}}) return;
    const int32_t _step = _spike_step[_i];
    // what was counted is taken away again, so that the counts are zero when the next window begins
    if (_step >= 0 && _step < {{_g.window_steps}})
        _calendar[_first[_step] + atomicSub(&_unplaced[_step], 1) - 1] = _i;
}

__global__ void _copy_step_{{codeobj_name}}(
    const int32_t* _calendar, const int32_t* _first, const int32_t _step, int32_t* _spikes)
{
    const int32_t _from = _first[_step];
    const int32_t _num_spikes = _first[_step + 1] - _from;
    const int _i = blockIdx.x * blockDim.x + threadIdx.x;
    if (_i < {{owner.N}})
        _spikes[_i] = _i < _num_spikes ? _calendar[_from + _i] : -1;
    if (_i == 0)
        _spikes[{{owner.N}}] = _num_spikes;
}
{% endblock %}

{% block kernel_call %}
    {% set first = 'dev' ~ get_array_name(variables['_first_of_step'], access_data=False) %}
    {% set unplaced = 'dev' ~ get_array_name(variables['_unplaced'], access_data=False) %}
    {% set calendar = 'dev' ~ get_array_name(variables['_calendar'], access_data=False) %}
    {% set planned = 'dev' ~ get_array_name(variables['spike_step'], access_data=False) %}
    const int32_t _step = ({{_timestep}} - {{_begin}}) % {{_g.window_steps}};
    const int _blocks = ({{owner.N}} + 255) / 256;
    if (_step == 0)
    {
        {{ super() }}
        _begin_steps_{{codeobj_name}}<<<({{_g.window_steps}} + 256) / 256, 256>>>({{unplaced}}, {{first}});
        CUDA_CHECK_ERROR("_begin_steps_{{codeobj_name}}");
        _place_{{codeobj_name}}<<<_blocks, 256>>>({{planned}}, {{first}}, {{unplaced}}, {{calendar}});
        CUDA_CHECK_ERROR("_place_{{codeobj_name}}");
    }
    _copy_step_{{codeobj_name}}<<<_blocks, 256>>>({{calendar}}, {{first}}, _step, {{_device_spikes}});
    CUDA_CHECK_ERROR("_copy_step_{{codeobj_name}}");
{% endblock %}
