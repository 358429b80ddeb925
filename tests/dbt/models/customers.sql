select id as customer_id, email, name, country from {{ ref('raw_customers') }}
