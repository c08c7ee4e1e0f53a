{# USES_VARIABLES { _eventspace, t_in_timesteps } #}
{% extends 'arriving_spikes.pyx' %}
{% block declarations %}
    cdef size_t _first_weight
    cdef int32_t _out
{% endblock %}
{% block reach %}
            _first_weight = <size_t>_position * {{_g.outputs}}
            for _out in range({{_g.outputs}}):
                _idx = _first_weight + _out
                _postsynaptic_idx = {{_targets_begin}} + _out
                _vectorisation_idx = _idx
                {{vector_code|autoindent}}
{% endblock %}
