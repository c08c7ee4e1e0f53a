{# USES_VARIABLES { _eventspace, t_in_timesteps } #}
{% extends 'arriving_spikes.cu' %}
{% block tap %}
const int32_t _idx = _position * {{_g.taps}} + _tap;
const int32_t _postsynaptic_idx = {{_targets_begin}} + _tap;
{% endblock %}
{% block sources %}
for (int32_t _position = 0; _position < {{_g.inputs}}; _position++)
{
    const int32_t _idx = _position * {{_g.outputs}} + (int32_t){{_target_within}};
    {{ self.deliver()|indent(4) }}
}
{% endblock %}
