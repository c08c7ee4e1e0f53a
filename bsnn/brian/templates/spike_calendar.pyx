{# USES_VARIABLES { N, t_in_timesteps, _start_step, spike_step, _planned, _calendar, _first_of_step, _spikespace } #}
{% extends 'common_group.pyx' %}
{% block maincode %}
    cdef int32_t _step = ({{t_in_timesteps}} - {{_start_step}}) % {{_g.window_steps}}
    cdef int32_t* _first = {{_first_of_step}}
    cdef int32_t _i, _k, _count, _end, _neuron, _from, _spikes
    if _step == 0:
        # scalar code
        _vectorisation_idx = 1
        {{ scalar_code | autoindent }}
        for _idx in range(N):
            _vectorisation_idx = _idx
            {{ vector_code | autoindent }}
        # the neurons that spike at all; then sorted by step, keeping their order
        _count = 0
        for _i in range(N):
            {{_planned}}[_count] = _i
            _count += 0 <= {{spike_step}}[_i] < {{_g.window_steps}}
        for _k in range({{_g.window_steps + 1}}):
            _first[_k] = 0
        for _i in range(_count):
            _first[{{spike_step}}[{{_planned}}[_i]]] += 1
        _end = 0
        for _k in range({{_g.window_steps}}):
            _end += _first[_k]
            _first[_k] = _end
        _first[{{_g.window_steps}}] = _end
        for _i in range(_count - 1, -1, -1):
            _neuron = {{_planned}}[_i]
            _k = {{spike_step}}[_neuron]
            _first[_k] -= 1
            {{_calendar}}[_first[_k]] = _neuron
    _from = _first[_step]
    _spikes = _first[_step + 1] - _from
    for _i in range(_spikes):
        {{_spikespace}}[_i] = {{_calendar}}[_from + _i]
    {{_spikespace}}[N] = _spikes
{% endblock %}

{% block after_code %}
    {{_spikespace}}[N] = 0
{% endblock %}
