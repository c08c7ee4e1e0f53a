{# USES_VARIABLES { N, t_in_timesteps, _rows } #}
{% extends 'common_group.pyx' %}
{% block maincode %}
    cdef int64_t _window = {{t_in_timesteps}} // {{_g.window_steps}}
    if {{t_in_timesteps}} % {{_g.window_steps}} == {{_g.window_steps - 1}} and _window < {{_g.windows}}:
        # scalar code
        _vectorisation_idx = 1
        {{ scalar_code | autoindent }}
        for _idx in range(N):
            _vectorisation_idx = _idx
            {{ vector_code | autoindent }}
            {{_rows}}[_window * N + _idx] = _recorded
{% endblock %}
