{# USES_VARIABLES { N, t_in_timesteps, spike_step, _planned, _calendar, _first_of_step, _spikespace } #}
{% extends 'common_group.cpp' %}
{% block maincode %}
    const int32_t _step = (int32_t)({{t_in_timesteps}} % {{_g.window_steps}});
    int32_t* const _first = {{_first_of_step}};
    if (_step == 0)
    {
        // scalar code
        const size_t _vectorisation_idx = -1;
        {{scalar_code|autoindent}}
        for (size_t _idx = 0; _idx < N; _idx++)
        {
            const size_t _vectorisation_idx = _idx;
            {{vector_code|autoindent}}
        }
        // the neurons that spike at all, without a branch; then sorted by step, keeping their order
        int32_t _count = 0;
        for (int32_t _i = 0; _i < N; _i++)
        {
            {{_planned}}[_count] = _i;
            _count += ({{spike_step}}[_i] < {{_g.window_steps}});
        }
        for (int32_t _k = 0; _k <= {{_g.window_steps}}; _k++)
            _first[_k] = 0;
        for (int32_t _i = 0; _i < _count; _i++)
            _first[{{spike_step}}[{{_planned}}[_i]]]++;
        int32_t _end = 0;
        for (int32_t _k = 0; _k < {{_g.window_steps}}; _k++)
        {
            _end += _first[_k];
            _first[_k] = _end;
        }
        _first[{{_g.window_steps}}] = _end;
        for (int32_t _i = _count - 1; _i >= 0; _i--)
        {
            const int32_t _neuron = {{_planned}}[_i];
            {{_calendar}}[--_first[{{spike_step}}[_neuron]]] = _neuron;
        }
    }
    const int32_t _from = _first[_step];
    const int32_t _spikes = _first[_step + 1] - _from;
    for (int32_t _i = 0; _i < _spikes; _i++)
        {{_spikespace}}[_i] = {{_calendar}}[_from + _i];
    {{_spikespace}}[N] = _spikes;
{% endblock %}

{% block after_code %}
{{_spikespace}}[N] = 0;
{% endblock %}
