{# USES_VARIABLES { N, t_in_timesteps, _start_step, _rows } #}
{% extends 'common_group.cpp' %}
{% block maincode %}
    const int64_t _since_first = {{t_in_timesteps}} - {{_start_step}} - {{_g.first_step}};
    const int64_t _window = _since_first / {{_g.window_steps}};
    if (_since_first >= 0 && _since_first % {{_g.window_steps}} == 0 && _window < {{_g.windows}})
    {
        // scalar code
        const size_t _vectorisation_idx = -1;
        {{scalar_code|autoindent}}
        for (size_t _idx = 0; _idx < N; _idx++)
        {
            const size_t _vectorisation_idx = _idx;
            {{vector_code|autoindent}}
            {{_rows}}[_window * N + _idx] = _recorded;
        }
    }
{% endblock %}
