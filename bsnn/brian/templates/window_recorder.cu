{# USES_VARIABLES { N, t_in_timesteps, _rows } #}
{# A thread a neuron. The host knows the step: a kernel is started in a window's last step only. #}
{% extends 'common_group.cu' %}
{% set _timestep = get_array_name(variables['t_in_timesteps'], access_data=False) ~ '[0]' %}
{% block kernel_maincode %}
    {{scalar_code|autoindent}}
    {
        {{vector_code|autoindent}}
        const int64_t _window = {{t_in_timesteps}} / {{_g.window_steps}};
        {{_rows}}[_window * _N + _idx] = _recorded;
    }
{% endblock %}
{% block kernel_call %}
    if ({{_timestep}} % {{_g.window_steps}} == {{_g.window_steps - 1}}
        && {{_timestep}} / {{_g.window_steps}} < {{_g.windows}})
    {
        {{ super() }}
    }
{% endblock %}
