{# USES_VARIABLES { N, _spikespace, _pool_spikespace, _spiking, _reached, _first_window, _windows,
                    _row_elements, _column_elements } #}
{# Only windows in which a neuron spikes are looked at: the others pass nothing, whoever wins. #}
{% extends 'common_group.pyx' %}
{# in a batch, images lie one after another: a division a spike tells its image #}
{% set _within = '_within' if _g.batch > 1 else '_pre' %}
{% set _pooled_within = '_pooled_within' if _g.batch > 1 else '_pooled' %}
{% set _neurons_before = ' + _image * %d' % _g.image_size if _g.batch > 1 else '' %}
{% set _windows_before = ' + _image * %d' % _g.image_windows if _g.batch > 1 else '' %}
{% block template_support_code %}
from libcpp.algorithm cimport sort as _sort
{% endblock %}
{% block maincode %}
    cdef int32_t _num_spikes = {{_spikespace}}[{{_g.source_size}}]
    cdef int32_t _count = 0
    cdef int32_t _num_windows = 0
    {% if _g.batch > 1 %}
    cdef int32_t _image, _within, _pooled_within
    {% endif %}
    cdef int32_t _s, _pre, _c, _place, _k, _pooled, _window, _r, _q, _y, _x, _winner
    cdef double _largest
    for _s in range(_num_spikes):
        _pre = {{_spikespace}}[_s]
        {% if _g.batch > 1 %}
        _image = _pre // {{_g.image_size}}
        _within = _pre - _image * {{_g.image_size}}
        {% endif %}
        _c = {{_within}} % {{_g.pooled_channels}}
        _place = {{_within}} // {{_g.pooled_channels}}
        {{_spiking}}[_pre] = 1
        for _k in range({{_first_window}}[_place], {{_first_window}}[_place + 1]):
            _pooled = {{_windows}}[_k] * {{_g.pooled_channels}} + _c{{_windows_before}}
            if not ({{_reached}}[_pooled // 64] >> (_pooled % 64)) & 1:
                {{_reached}}[_pooled // 64] |= <int64_t>1 << (_pooled % 64)
                # windows that are reached stand where the spikes will
                {{_pool_spikespace}}[_num_windows] = _pooled
                _num_windows += 1
    _sort({{_pool_spikespace}}, {{_pool_spikespace}} + _num_windows)
    # scalar code
    _vectorisation_idx = 1
    {{scalar_code|autoindent}}
    for _s in range(_num_windows):
        _pooled = {{_pool_spikespace}}[_s]
        {{_reached}}[_pooled // 64] = 0
        {% if _g.batch > 1 %}
        _image = _pooled // {{_g.image_windows}}
        _pooled_within = _pooled - _image * {{_g.image_windows}}
        {% endif %}
        _c = {{_pooled_within}} % {{_g.pooled_channels}}
        _window = {{_pooled_within}} // {{_g.pooled_channels}}
        # of equal keys the first counts
        _winner = -1
        _largest = 0
        for _r in range({{_g.row_elements}}):
            _y = {{_row_elements}}[_window // {{_g.pooled_width}} * {{_g.row_elements}} + _r]
            if _y < 0:
                continue
            for _q in range({{_g.column_elements}}):
                _x = {{_column_elements}}[_window % {{_g.pooled_width}} * {{_g.column_elements}} + _q]
                if _x < 0:
                    continue
                _idx = (_y * {{_g.pooled_from_width}} + _x) * {{_g.pooled_channels}} + _c{{_neurons_before}}
                _vectorisation_idx = _idx
                {{vector_code|autoindent}}
                if _winner < 0 or _key > _largest:
                    _winner = _idx
                    _largest = _key
        if {{_spiking}}[_winner]:
            {{_pool_spikespace}}[_count] = _pooled
            _count += 1
    for _s in range(_num_spikes):
        {{_spiking}}[{{_spikespace}}[_s]] = 0
    {{_pool_spikespace}}[{{_g.pool_size}}] = _count
{% endblock %}

{% block after_code %}
    {{_pool_spikespace}}[{{_g.pool_size}}] = 0
{% endblock %}
