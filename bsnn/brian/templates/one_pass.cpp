{# USES_VARIABLES { N, _spikespace } #}
{% extends 'common_group.cpp' %}
{% block maincode %}
    // scalar code
    const size_t _vectorisation_idx = -1;
    {{scalar_code['update']|autoindent}}
    // blocks stay in the cache between their update and their resets
    const size_t _block = 256;
    bool _spiking[_block];
    int32_t _count = 0;
    for (size_t _first = 0; _first < N; _first += _block)
    {
        const size_t _last = _first + _block < N ? _first + _block : N;
        bool _any = false;
        for (size_t _idx = _first; _idx < _last; _idx++)
        {
            const size_t _vectorisation_idx = _idx;
            {{vector_code['update']|autoindent}}
            _spiking[_idx - _first] = _cond;
            _any |= _cond;
        }
        if (!_any) continue;
        {{scalar_code['reset']|autoindent}}
        for (size_t _idx = _first; _idx < _last; _idx++)
        {
            if (!_spiking[_idx - _first]) continue;
            const size_t _vectorisation_idx = _idx;
            {{_spikespace}}[_count++] = _idx;
            {{vector_code['reset']|autoindent}}
        }
    }
    {{_spikespace}}[N] = _count;
{% endblock %}

{% block after_code %}
{{_spikespace}}[N] = 0;
{% endblock %}
