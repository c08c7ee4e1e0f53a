{# USES_VARIABLES { N, t_in_timesteps, _start_step, passed_window, _spikespace, _source_spikespace,
                    _first_window, _windows } #}
{% extends 'common_group.pyx' %}
{# in a batch, images lie one after another: a division a spike tells its image #}
{% set _within = '_within' if _g.batch > 1 else '_pre' %}
{% set _windows_before = ' + _image * %d' % _g.image_windows if _g.batch > 1 else '' %}
{% block template_support_code %}
from libcpp.algorithm cimport sort as _sort
{% endblock %}
{% block maincode %}
    # the step in which this window has begun
    cdef int32_t _now = {{t_in_timesteps}} - ({{t_in_timesteps}} - {{_start_step}}) % {{_g.window_steps}}
    cdef int32_t _num_spikes = {{_source_spikespace}}[{{_g.source_size}}]
    cdef int32_t _count = 0
    {% if _g.batch > 1 %}
    cdef int32_t _image, _within
    {% endif %}
    cdef int32_t _s, _pre, _c, _place, _k, _neuron
    for _s in range(_num_spikes):
        _pre = {{_source_spikespace}}[_s]
        {% if _g.batch > 1 %}
        _image = _pre // {{_g.image_size}}
        _within = _pre - _image * {{_g.image_size}}
        {% endif %}
        _c = {{_within}} % {{_g.pooled_channels}}
        _place = {{_within}} // {{_g.pooled_channels}}
        for _k in range({{_first_window}}[_place], {{_first_window}}[_place + 1]):
            _neuron = {{_windows}}[_k] * {{_g.pooled_channels}} + _c{{_windows_before}}
            if {{passed_window}}[_neuron] != _now:
                {{passed_window}}[_neuron] = _now
                {{_spikespace}}[_count] = _neuron
                _count += 1
    # in the order in which Brian2's own threshold would list them
    _sort({{_spikespace}}, {{_spikespace}} + _count)
    {{_spikespace}}[N] = _count
{% endblock %}

{% block after_code %}
    {{_spikespace}}[N] = 0
{% endblock %}
