{# USES_VARIABLES { t_in_timesteps, _start_step, _spikespace, _levels, _misplaced } #}
{# Threads stride over the spikes, whose number is read on the device. A neuron is in the list once,
   so that no two threads write to one place. #}
{% extends 'common_group.cu' %}
{% block prepare_kernel_inner %}
    num_threads = 256;
    num_blocks = ({{_g.size}} + num_threads - 1) / num_threads;
    if (num_blocks > 8 * num_parallel_blocks) num_blocks = 8 * num_parallel_blocks;
{% endblock %}
{# every thread may have work, whatever its number #}
{% block define_N %}
    const int _N = 8 * num_parallel_blocks * 256;
{% endblock %}
{% block kernel_maincode %}
    const int32_t _num_spikes = {{_spikespace}}[{{_g.eventspace_size - 1}}];
    const int64_t _since_first = {{t_in_timesteps}} - {{_start_step}} - {{_g.first_step}};
    const int64_t _window = _since_first / {{_g.window_steps}};
    const int32_t _left = {{_g.window_steps}} - (int32_t)(_since_first % {{_g.window_steps}});
    const bool _recorded = _since_first >= 0 && _window % {{_g.interval}} == 0
                           && _window / {{_g.interval}} < {{_g.windows}};
    const int64_t _row = _window / {{_g.interval}} * {{_g.size}};
    for (int32_t _s = _idx; _s < _num_spikes; _s += gridDim.x * blockDim.x)
    {
        const int32_t _neuron = {{_spikespace}}[_s] - {{_g.start}};
        if (_neuron < 0 || _neuron >= {{_g.size}}) continue;
        if (!_recorded)
        {
            {{_misplaced}}[0] = 1;
            continue;
        }
        if ({{_levels}}[_row + _neuron]) {{_misplaced}}[1] = 1;
        {{_levels}}[_row + _neuron] = _left;
    }
{% endblock %}
