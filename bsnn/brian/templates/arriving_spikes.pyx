{# See arriving_spikes.cpp: the block reach is what happens for each spike that arrives. #}
{% extends 'common_group.pyx' %}

{# in a batch, images lie one after another: a division a spike tells its image #}
{% set _within = '_within' if _g.batch > 1 else '_pre' %}
{% set _positions_before = ' + _image * %d' % _g.image_positions if _g.batch > 1 else '' %}
{% set _targets_begin = '_targets_begin' if _g.batch > 1 else _g.target_start %}

{% block template_support_code %}
from libcpp.algorithm cimport sort as _sort
{% endblock %}

{% block maincode %}
    cdef int32_t _s, _pre, _position, _num_spikes, _waiting, _spike
    cdef int32_t* _spikes
    cdef int32_t* _row
    cdef int32_t _k
    {% if _g.batch > 1 %}
    cdef int32_t _image, _within, _targets_begin
    {% endif %}
    {% if _g.pooling != 'none' %}
    cdef int32_t _c, _place, _window
    cdef int32_t _num_windows = 0
    cdef int32_t _now
    {% endif %}
    {% block declarations %}
    {% endblock %}

    # scalar code
    _vectorisation_idx = 1
    {{scalar_code|autoindent}}

    {% if _g.delay_steps %}
    # the spikes of this step wait in a row of the ring, those of {{_g.delay_steps}} steps ago arrive
    _row = {{_waiting_spikes}} + {{_waiting_row}} * {{_g.source_size + 1}}
    _waiting = 0
    for _s in range({{_eventspace}}[{{_g.eventspace_size - 1}}]):
        _spike = {{_eventspace}}[_s]
        if _spike >= {{_g.source_start}} and _spike < {{_g.source_start + _g.source_size}}:
            _row[_waiting] = _spike
            _waiting += 1
    _row[{{_g.source_size}}] = _waiting
    {{_waiting_row}} = ({{_waiting_row}} + 1) % {{_g.delay_steps + 1}}
    _spikes = {{_waiting_spikes}} + {{_waiting_row}} * {{_g.source_size + 1}}
    _num_spikes = _spikes[{{_g.source_size}}]
    {% else %}
    _spikes = {{_eventspace}}
    _num_spikes = {{_eventspace}}[{{_g.eventspace_size - 1}}]
    {% endif %}

    {% if _g.pooling == 'max' %}
    # a window passes one spike in a step, however many of its neurons spike
    _now = {{t_in_timesteps}}
    for _s in range(_num_spikes):
        _pre = _spikes[_s] - {{_g.source_start}}
        if _pre < 0 or _pre >= {{_g.source_size}}:
            continue
        {% if _g.batch > 1 %}
        _image = _pre // {{_g.image_size}}
        _within = _pre - _image * {{_g.image_size}}
        {% endif %}
        _c = {{_within}} % {{_g.pooled_channels}}
        _place = {{_within}} // {{_g.pooled_channels}}
        for _k in range({{_first_window}}[_place], {{_first_window}}[_place + 1]):
            _window = {{_windows}}[_k] * {{_g.pooled_channels}} + _c{{_positions_before}}
            if {{_window_passed}}[_window] != _now:
                {{_window_passed}}[_window] = _now
                {{_window_spikes}}[_num_windows] = _window
                _num_windows += 1
    _sort({{_window_spikes}}, {{_window_spikes}} + _num_windows)
    _spikes = {{_window_spikes}}
    _num_spikes = _num_windows
    {% endif %}
    {% if _g.pooling == 'average' %}
    {% set containing = _first_window ~ '[_place], ' ~ _first_window ~ '[_place + 1]' %}
    {% else %}
    {% set containing = '1' %}
    {% endif %}
    for _s in range(_num_spikes):
        {% if _g.pooling == 'max' %}
        {% if _g.batch > 1 %}
        _image = _spikes[_s] // {{_g.image_positions}}
        _position = _spikes[_s] - _image * {{_g.image_positions}}
        {% else %}
        _position = _spikes[_s]
        {% endif %}
        _presynaptic_idx = 0
        {% else %}
        _presynaptic_idx = _spikes[_s]
        _pre = _spikes[_s] - {{_g.source_start}}
        if _pre < 0 or _pre >= {{_g.source_size}}:
            continue
        {% if _g.batch > 1 %}
        _image = _pre // {{_g.image_size}}
        _within = _pre - _image * {{_g.image_size}}
        {% endif %}
        _position = {{_within}}
        {% endif %}
        {% if _g.batch > 1 %}
        _targets_begin = {{_g.target_start}} + _image * {{_g.image_targets}}
        {% endif %}
        {% if _g.pooling == 'average' %}
        _c = {{_within}} % {{_g.pooled_channels}}
        _place = {{_within}} // {{_g.pooled_channels}}
        {% endif %}
        for _k in range({{containing}}):
            {% if _g.pooling == 'average' %}
            _window = {{_windows}}[_k]
            _position = _window * {{_g.pooled_channels}} + _c
            _pool_share = {{_window_share}}[_window]
            {% endif %}
            {% block reach %}
            {% endblock %}
{% endblock %}
