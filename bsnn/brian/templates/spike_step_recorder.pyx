{# USES_VARIABLES { t_in_timesteps, _start_step, _spikespace, _levels, _misplaced } #}
{% extends 'common_group.pyx' %}
{% block maincode %}
    cdef int32_t _num_spikes = {{_spikespace}}[{{_g.eventspace_size - 1}}]
    cdef int64_t _since_first = {{t_in_timesteps}} - {{_start_step}} - {{_g.first_step}}
    cdef int64_t _window, _row
    cdef int32_t _left, _s, _neuron
    cdef bint _recorded
    {% set _type = 'unsigned char' if _g.in_bytes else 'int32_t' %}
    cdef {{_type}}* _of_spikes = <{{_type}}*> {{_levels}}
    if _num_spikes:
        _window = _since_first // {{_g.window_steps}}
        _left = {{_g.window_steps}} - _since_first % {{_g.window_steps}}
        _recorded = _since_first >= 0 and _window % {{_g.interval}} == 0 and _window // {{_g.interval}} < {{_g.windows}}
        _row = _window // {{_g.interval}} * {{_g.size}}
        for _s in range(_num_spikes):
            _neuron = {{_spikespace}}[_s] - {{_g.start}}
            if _neuron < 0 or _neuron >= {{_g.size}}:
                continue
            if not _recorded:
                {{_misplaced}}[0] = 1
                break
            if _of_spikes[_row + _neuron]:
                {{_misplaced}}[1] = 1
            _of_spikes[_row + _neuron] = _left
{% endblock %}
