{# USES_VARIABLES { t_in_timesteps, _start_step, _spikespace, _levels, _misplaced } #}
{% extends 'common_group.cpp' %}
{% block maincode %}
    const int32_t _num_spikes = {{_spikespace}}[{{_g.eventspace_size - 1}}];
    if (_num_spikes)
    {
        const int64_t _since_first = {{t_in_timesteps}} - {{_start_step}} - {{_g.first_step}};
        const int64_t _window = _since_first / {{_g.window_steps}};
        const int32_t _left = {{_g.window_steps}} - (int32_t)(_since_first % {{_g.window_steps}});
        const bool _recorded = _since_first >= 0 && _window % {{_g.interval}} == 0
                               && _window / {{_g.interval}} < {{_g.windows}};
        const int64_t _row = _window / {{_g.interval}} * {{_g.size}};
        for (int32_t _s = 0; _s < _num_spikes; _s++)
        {
            const int32_t _neuron = {{_spikespace}}[_s] - {{_g.start}};
            if (_neuron < 0 || _neuron >= {{_g.size}}) continue;
            if (!_recorded)
            {
                {{_misplaced}}[0] = 1;
                break;
            }
            if ({{_levels}}[_row + _neuron]) {{_misplaced}}[1] = 1;
            {{_levels}}[_row + _neuron] = _left;
        }
    }
{% endblock %}
