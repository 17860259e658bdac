/* model_queue.h - between model_email.c and model_queue.c only. Owns nothing. */
#pragma once

#include "store/model_email.h"
#include "store/query_internal.h"

/* Sets what an attempt changes: recipients, lists, status, attempts, updated_at. */
void email_put_progress(struct store_update *u, const struct email_doc *email);
