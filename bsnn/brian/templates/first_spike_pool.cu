{# USES_VARIABLES { N, t_in_timesteps, _start_step, passed_window, _spikespace, _source_spikespace,
                    _first_window, _windows } #}
{# A thread a spike of the source. Which spike of a window is its first is decided by an atomicExch
   (among spikes of one step it does not matter which), its place in the list by an atomicAdd, so that
   the list is in any order. #}
{% extends 'own_spikes.cu' %}
{# in a batch, images lie one after another: a division a spike tells its image #}
{% set _within = '_within' if _g.batch > 1 else '_pre' %}
{% set _windows_before = ' + _image * %d' % _g.image_windows if _g.batch > 1 else '' %}
{% block extra_kernel_call %}
    {{ self.clear_spikes()|indent(4) }}
{% endblock %}
{% block prepare_kernel_inner %}
    // in most steps few neurons spike: the threads stride over those that do
    num_threads = 256;
    num_blocks = ({{_g.source_size}} + num_threads - 1) / num_threads;
    if (num_blocks > 8 * num_parallel_blocks) num_blocks = 8 * num_parallel_blocks;
{% endblock %}
{# every thread may have work, whatever its number #}
{% block define_N %}
    const int _N = 8 * num_parallel_blocks * 256;
{% endblock %}
{% block kernel_maincode %}
    // the step in which this window has begun
    const int32_t _now = (int32_t)({{t_in_timesteps}} - ({{t_in_timesteps}} - {{_start_step}}) % {{_g.window_steps}});
    const int32_t _num_spikes = {{_source_spikespace}}[{{_g.source_size}}];
    for (int32_t _s = _idx; _s < _num_spikes; _s += gridDim.x * blockDim.x)
    {
        const int32_t _pre = {{_source_spikespace}}[_s];
        {% if _g.batch > 1 %}
        const int32_t _image = _pre / {{_g.image_size}};
        const int32_t _within = _pre - _image * {{_g.image_size}};
        {% endif %}
        const int32_t _c = {{_within}} % {{_g.pooled_channels}};
        const int32_t _place = {{_within}} / {{_g.pooled_channels}};
        for (int32_t _k = {{_first_window}}[_place]; _k < {{_first_window}}[_place + 1]; _k++)
        {
            const int32_t _neuron = {{_windows}}[_k] * {{_g.pooled_channels}} + _c{{_windows_before}};
            if (atomicExch(&{{passed_window}}[_neuron], _now) != _now)
                {{_spikespace}}[atomicAdd(&{{_spikespace}}[N], 1)] = _neuron;
        }
    }
{% endblock %}
