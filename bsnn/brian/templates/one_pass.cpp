{# USES_VARIABLES { N, _spikespace } #}
{% extends 'common_group.cpp' %}
{% block extra_headers %}
#include <cstring>
{% endblock %}
{% block maincode %}
    // scalar code
    const size_t _vectorisation_idx = -1;
    {{scalar_code['update']|autoindent}}
    // blocks stay in the cache between their update and their resets; a byte says whether a neuron
    // spikes (compilers do not vectorise the loop for a bool)
    const size_t _block = 256;
    uint8_t _spiking[_block] = {0};
    int32_t _count = 0;
    for (size_t _first = 0; _first < N; _first += _block)
    {
        const size_t _last = _first + _block < N ? _first + _block : N;
        if (_last - _first < _block) memset(_spiking, 0, _block);
        uint8_t _any = 0;
        for (size_t _idx = _first; _idx < _last; _idx++)
        {
            const size_t _vectorisation_idx = _idx;
            {{vector_code['update']|autoindent}}
            _spiking[_idx - _first] = _cond;
            _any |= _cond;
        }
        if (!_any) continue;
        {{scalar_code['reset']|autoindent}}
        for (size_t _eight = _first; _eight < _last; _eight += 8)
        {
            uint64_t _some;
            memcpy(&_some, _spiking + (_eight - _first), 8);
            if (!_some) continue;
            for (size_t _idx = _eight; _idx < _eight + 8; _idx++)
            {
                if (!_spiking[_idx - _first]) continue;
                const size_t _vectorisation_idx = _idx;
                {{_spikespace}}[_count++] = _idx;
                {{vector_code['reset']|autoindent}}
            }
        }
    }
    {{_spikespace}}[N] = _count;
{% endblock %}

{% block after_code %}
{{_spikespace}}[N] = 0;
{% endblock %}
