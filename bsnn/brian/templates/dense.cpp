{# USES_VARIABLES { _eventspace, t_in_timesteps } #}
{% extends 'arriving_spikes.cpp' %}
{% block reach %}
        {
            const size_t _first_weight = (size_t)_position * {{_g.outputs}};
            for (int32_t _out = 0; _out < {{_g.outputs}}; _out++)
            {
                const size_t _idx = _first_weight + _out;
                const size_t _postsynaptic_idx = {{_targets_begin}} + _out;
                const size_t _vectorisation_idx = _idx;
                {{vector_code|autoindent}}
            }
        }
{% endblock %}
