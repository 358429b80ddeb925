select id, 'old' as kind from {{ ref('raw_customers') }}
