{# USES_VARIABLES { N, t_in_timesteps, _start_step } #}
{# A thread a neuron. The host knows the step: outside of a window's first no kernel is started. #}
{% extends 'common_group.cu' %}
{% set _timestep = get_array_name(variables['t_in_timesteps'], access_data=False) ~ '[0]' %}
{% set _begin = get_array_name(variables['_start_step'], access_data=False) ~ '[0]' %}
{% block kernel_call %}
    if (({{_timestep}} - {{_begin}}) % {{_g.window_steps}} == 0)
    {
        {{ super() }}
    }
{% endblock %}
