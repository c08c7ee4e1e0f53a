{# USES_VARIABLES { N, t_in_timesteps, _start_step } #}
{% extends 'common_group.cpp' %}
{% block maincode %}
    if (({{t_in_timesteps}} - {{_start_step}}) % {{_g.window_steps}} == 0)
    {
        // scalar code
        const size_t _vectorisation_idx = -1;
        {{scalar_code|autoindent}}
        {# of synapses the number is known only when they are made #}
        const size_t _all = {{constant_or_scalar('N', variables['N'])}};
        for (size_t _idx = 0; _idx < _all; _idx++)
        {
            const size_t _vectorisation_idx = _idx;
            {{vector_code|autoindent}}
        }
    }
{% endblock %}
