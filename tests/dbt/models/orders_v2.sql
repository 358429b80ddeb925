select id, 'new' as kind from {{ ref('raw_customers') }}
