{# USES_VARIABLES { N, t_in_timesteps } #}
{# A thread a neuron. The host knows the step: outside of a window's first no kernel is started. #}
{% extends 'common_group.cu' %}
{% set _timestep = get_array_name(variables['t_in_timesteps'], access_data=False) ~ '[0]' %}
{% block kernel_call %}
    if ({{_timestep}} % {{_g.window_steps}} == 0)
    {
        {{ super() }}
    }
{% endblock %}
