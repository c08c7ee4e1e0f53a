{# USES_VARIABLES { N, t_in_timesteps, _start_step, _rows } #}
{% extends 'common_group.pyx' %}
{% block maincode %}
    cdef int64_t _since_first = {{t_in_timesteps}} - {{_start_step}} - {{_g.first_step}}
    cdef int64_t _window = _since_first // {{_g.window_steps}}
    if _since_first >= 0 and _since_first % {{_g.window_steps}} == 0 and _window < {{_g.windows}}:
        # scalar code
        _vectorisation_idx = 1
        {{ scalar_code | autoindent }}
        for _idx in range(N):
            _vectorisation_idx = _idx
            {{ vector_code | autoindent }}
            {{_rows}}[_window * N + _idx] = _recorded
{% endblock %}
