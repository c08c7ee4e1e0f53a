{# USES_VARIABLES { N, _spikespace, _pool_spikespace, _reached, _first_window, _windows,
                    _row_elements, _column_elements } #}
{# Only neurons that spike are compared with the others of their windows: where none does, nothing
   passes, whoever wins. All are, whatever is found before: a branch costs more than a comparison. #}
{% extends 'common_group.cpp' %}
{# in a batch, images lie one after another: a division a spike tells its image #}
{% set _within = '_within' if _g.batch > 1 else '_pre' %}
{% set _neurons_before = ' + _image * %d' % _g.image_size if _g.batch > 1 else '' %}
{% set _windows_before = ' + _image * %d' % _g.image_windows if _g.batch > 1 else '' %}
{% block maincode %}
    const int32_t _num_spikes = {{_spikespace}}[{{_g.source_size}}];
    int32_t _count = 0;
    if (_num_spikes)
    {
    uint64_t* const _bits = (uint64_t*){{_reached}};
    // scalar code
    const size_t _vectorisation_idx = -1;
    {{scalar_code|autoindent}}
    for (int32_t _s = 0; _s < _num_spikes; _s++)
    {
        const int32_t _pre = {{_spikespace}}[_s];
        {% if _g.batch > 1 %}
        const int32_t _image = _pre / {{_g.image_size}};
        const int32_t _within = _pre - _image * {{_g.image_size}};
        {% endif %}
        const int32_t _c = {{_within}} % {{_g.pooled_channels}};
        const int32_t _place = {{_within}} / {{_g.pooled_channels}};
        double _own;
        {
            const size_t _idx = _pre;
            const size_t _vectorisation_idx = _idx;
            {{vector_code|autoindent}}
            _own = _key;
        }
        for (int32_t _k = {{_first_window}}[_place]; _k < {{_first_window}}[_place + 1]; _k++)
        {
            const int32_t _window = {{_windows}}[_k];
            const int32_t* const _ys = {{_row_elements}} + _window / {{_g.pooled_width}} * {{_g.row_elements}};
            const int32_t* const _xs = {{_column_elements}} + _window % {{_g.pooled_width}} * {{_g.column_elements}};
            bool _wins = true;
            for (int32_t _r = 0; _r < {{_g.row_elements}}; _r++)
            {
                if (_ys[_r] < 0) continue;
                for (int32_t _q = 0; _q < {{_g.column_elements}}; _q++)
                {
                    if (_xs[_q] < 0) continue;
                    const int32_t _idx = (_ys[_r] * {{_g.pooled_from_width}} + _xs[_q]) * {{_g.pooled_channels}} + _c{{_neurons_before}};
                    const size_t _vectorisation_idx = _idx;
                    {{vector_code|autoindent}}
                    // of equal keys the first counts
                    _wins &= !((_key > _own) | ((_key == _own) & (_idx < _pre)));
                }
            }
            const int32_t _pooled = _window * {{_g.pooled_channels}} + _c{{_windows_before}};
            _bits[_pooled / 64] |= (uint64_t)_wins << (_pooled % 64);
        }
    }
    // a bit for each window lists them in the order in which Brian2's own threshold would
    for (int32_t _word = 0; _word < _num_reached; _word++)
    {
        for (uint64_t _left = _bits[_word]; _left; _left &= _left - 1)
        {
            #ifdef _MSC_VER
            unsigned long _bit;
            _BitScanForward64(&_bit, _left);
            #else
            const int _bit = __builtin_ctzll(_left);
            #endif
            {{_pool_spikespace}}[_count++] = _word * 64 + _bit;
        }
        _bits[_word] = 0;
    }
    }
    {{_pool_spikespace}}[{{_g.pool_size}}] = _count;
{% endblock %}

{% block after_code %}
{{_pool_spikespace}}[{{_g.pool_size}}] = 0;
{% endblock %}
