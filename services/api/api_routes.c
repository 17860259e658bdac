/* api_routes.c - all routes, in the order of the documentation. Constant. */
#include "api.h"

const struct api_route *const api_route_lists[] = {
    public_routes,
    account_routes,
    register_routes,
    domain_routes,
    invite_routes,
    member_routes,
    catchall_routes,
    alias_routes,
    email_routes,
    log_routes,
    NULL,
};

const char *const api_schema_lists[] = {
    account_schemas,
    register_schemas,
    domain_schemas,
    alias_schemas,
    email_schemas,
    log_schemas,
    NULL,
};
