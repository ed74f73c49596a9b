/* What handlers do. */
#include "consumer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double MEETING_TIMEOUT = 10;

struct timespec after_seconds(double seconds) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += (time_t)seconds;
    end.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    return end;
}

void see(running *r, const pgque_message *message) {
    pthread_mutex_lock(&r->lock);
    json_array_append_new(r->seen, message_json(message));
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static bool first_time(running *r, const pgque_message *message) {
    json_t *msg_id = id_text(pgque_message_id(message));
    pthread_mutex_lock(&r->lock);
    bool first = !json_object_get(r->failed_before, json_string_value(msg_id));
    json_object_set_new(r->failed_before, json_string_value(msg_id), json_true());
    pthread_mutex_unlock(&r->lock);
    json_decref(msg_id);
    return first;
}

/* Waits until so many handlers are here at once. */
static bool meet(running *r, int64_t wanted) {
    struct timespec end = after_seconds(MEETING_TIMEOUT);
    int timed_out = 0;
    pthread_mutex_lock(&r->lock);
    int64_t before = r->meetings;
    if (++r->inside >= wanted) {
        r->meetings++;
        pthread_cond_broadcast(&r->changed);
    }
    while (r->meetings == before && !timed_out) {
        timed_out = pthread_cond_timedwait(&r->changed, &r->lock, &end);
    }
    r->inside--;
    pthread_mutex_unlock(&r->lock);
    return !timed_out;
}

static pgque_error *fail(pgque_verdict *verdict) {
    return pgque_verdict_fail(verdict, "handler failed on purpose");
}

/* Writes the message's id within the consumer's transaction. */
static pgque_error *record(const pgque_message *message, pgque_verdict *verdict, bool fails) {
    char id[32];
    pgque_bytes param = {id, (size_t)snprintf(id, sizeof id, "%lld", (long long)pgque_message_id(message))};
    pgque_result *result = NULL;
    pgque_error *error =
        pgque_client_execute(pgque_message_client(message),
                             "insert into conformance_effects (msg_id) values ($1)", &param, 1, &result);
    pgque_result_free(result);
    if (error) {
        pgque_error *untold = pgque_verdict_fail(verdict, pgque_error_text(error));
        pgque_error_free(error);
        return untold;
    }
    return fails ? fail(verdict) : pgque_verdict_ack(verdict);
}

/* The consumer's transaction is not the handler's to end. */
static pgque_error *commit(const pgque_message *message, pgque_verdict *verdict) {
    pgque_error *error = pgque_client_commit(pgque_message_client(message));
    bool refused = pgque_error_kind(error) == PGQUE_ERROR_CONFLICT;
    pgque_error_free(error);
    return refused ? pgque_verdict_ack(verdict) : pgque_verdict_dead(verdict, "commit was not refused");
}

pgque_error *behave(running *r, const char *behaviour, const pgque_message *message, pgque_verdict *verdict) {
    static const char MEET[] = "meet:";
    static const struct timespec NAP = {0, 50000000};
    if (strcmp(behaviour, "fail") == 0 || (strcmp(behaviour, "fail_once") == 0 && first_time(r, message))) {
        return fail(verdict);
    }
    if (strcmp(behaviour, "retry") == 0) {
        return pgque_verdict_retry(verdict, pgque_interval_seconds(0), "later");
    }
    if (strcmp(behaviour, "dead") == 0) {
        return pgque_verdict_dead(verdict, "beyond repair");
    }
    if (strcmp(behaviour, "record") == 0 || strcmp(behaviour, "record_fail") == 0) {
        return record(message, verdict, strcmp(behaviour, "record_fail") == 0);
    }
    if (strcmp(behaviour, "commit") == 0) {
        return commit(message, verdict);
    }
    if (strncmp(behaviour, MEET, strlen(MEET)) == 0 && !meet(r, atoll(behaviour + strlen(MEET)))) {
        return pgque_verdict_fail(verdict, "the other handlers did not come");
    }
    if (strcmp(behaviour, "hang") == 0) {
        sleep(60);
    } else if (strcmp(behaviour, "slow") == 0) {
        sleep(3);
    } else if (strcmp(behaviour, "nap") == 0) {
        nanosleep(&NAP, NULL);
    }
    return pgque_verdict_ack(verdict);
}
