{# USES_VARIABLES { N, t_in_timesteps, _start_step } #}
{% extends 'common_group.pyx' %}
{% block maincode %}
    if ({{t_in_timesteps}} - {{_start_step}}) % {{_g.window_steps}} == 0:
        # scalar code
        _vectorisation_idx = 1
        {{ scalar_code | autoindent }}
        for _idx in range({{constant_or_scalar('N', variables['N'])}}):
            _vectorisation_idx = _idx
            {{ vector_code | autoindent }}
{% endblock %}
