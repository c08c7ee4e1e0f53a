{# USES_VARIABLES { N, t_in_timesteps, _start_step, _rows } #}
{# A thread a neuron. The host knows the step: a kernel is started when something is recorded. #}
{% extends 'common_group.cu' %}
{% set _timestep = get_array_name(variables['t_in_timesteps'], access_data=False) ~ '[0]' %}
{% set _begin = get_array_name(variables['_start_step'], access_data=False) ~ '[0]' %}
{% block kernel_maincode %}
    {{scalar_code|autoindent}}
    {
        {{vector_code|autoindent}}
        const int64_t _window = ({{t_in_timesteps}} - {{_start_step}} - {{_g.first_step}}) / {{_g.window_steps}};
        {{_rows}}[_window * _N + _idx] = _recorded;
    }
{% endblock %}
{% block kernel_call %}
    const int64_t _since_first = {{_timestep}} - {{_begin}} - {{_g.first_step}};
    if (_since_first >= 0 && _since_first % {{_g.window_steps}} == 0
        && _since_first / {{_g.window_steps}} < {{_g.windows}})
    {
        {{ super() }}
    }
{% endblock %}
