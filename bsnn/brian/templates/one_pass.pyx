{# USES_VARIABLES { N, _spikespace } #}
{% extends 'common_group.pyx' %}
{% block maincode %}
    cdef int32_t _count = 0
    cdef int32_t _s
    # scalar code
    _vectorisation_idx = 1
    {{ scalar_code['update'] | autoindent }}
    for _idx in range(N):
        _vectorisation_idx = _idx
        {{ vector_code['update'] | autoindent }}
        if _cond:
            {{_spikespace}}[_count] = _idx
            _count += 1
    {{_spikespace}}[N] = _count
    # what the reset's scalar code computes may bear the names of the update's
    {{ scalar_code['reset'] | autoindent }}
    for _s in range(_count):
        _idx = {{_spikespace}}[_s]
        _vectorisation_idx = _idx
        {{ vector_code['reset'] | autoindent }}
{% endblock %}

{% block after_code %}
    {{_spikespace}}[N] = 0
{% endblock %}
