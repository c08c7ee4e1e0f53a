{# USES_VARIABLES { N, _spikespace } #}
{# A thread a neuron; the place of a spike in the list comes from an atomicAdd, so that the list is in
   any order. #}
{% extends 'own_spikes.cu' %}
{% block extra_kernel_call %}
    {{ self.clear_spikes()|indent(4) }}
{% endblock %}
{% block kernel_maincode %}
    bool _spikes;
    {
        {{scalar_code['update']|autoindent}}
        {
            {{vector_code['update']|autoindent}}
            _spikes = _cond;
        }
    }
    if (_spikes)
    {
        {{_spikespace}}[atomicAdd(&{{_spikespace}}[_N], 1)] = _idx;
        {{scalar_code['reset']|autoindent}}
        {
            {{vector_code['reset']|autoindent}}
        }
    }
{% endblock %}
