{# USES_VARIABLES { N, t_in_timesteps, _start_step, spike_step, _planned, _calendar, _first_of_step, _spikespace } #}
{% extends 'common_group.cpp' %}
{% block maincode %}
    const int32_t _step = (int32_t)(({{t_in_timesteps}} - {{_start_step}}) % {{_g.window_steps}});
    int32_t* const _first = {{_first_of_step}};
    if (_step == 0)
    {
        // scalar code
        const size_t _vectorisation_idx = -1;
        {{scalar_code|autoindent}}
        // block after block, which stays in the cache: all neurons, then those that spike at all,
        // listed without a branch
        const size_t _block = 1024;
        int32_t _count = 0;
        for (int32_t _k = 0; _k <= {{_g.window_steps}}; _k++)
            _first[_k] = 0;
        for (size_t _begin = 0; _begin < N; _begin += _block)
        {
            const size_t _end = _begin + _block < N ? _begin + _block : N;
            for (size_t _idx = _begin; _idx < _end; _idx++)
            {
                const size_t _vectorisation_idx = _idx;
                {{vector_code|autoindent}}
            }
            int32_t _counted = _count;
            for (size_t _i = _begin; _i < _end; _i++)
            {
                {{_planned}}[_count] = (int32_t)_i;
                _count += ((uint32_t){{spike_step}}[_i] < {{_g.window_steps}});
            }
            for (; _counted < _count; _counted++)
                _first[{{spike_step}}[{{_planned}}[_counted]]]++;
        }
        // sorted by step, keeping their order
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
