package pgque

// #include <pgque.h>
import "C"

// Code is the stable number of a kind of error. Its constants are for errors.Is:
//
//	if errors.Is(err, pgque.ErrQueueNotFound) { … }
type Code int

// The kinds of errors, as far as a caller would act on them differently.
const (
	// ErrConnection: the server cannot be reached, refused the login, or the connection was lost.
	ErrConnection Code = C.PGQUE_ERROR_CONNECTION
	// ErrConfiguration: a setting or option is wrong.
	ErrConfiguration Code = C.PGQUE_ERROR_CONFIGURATION
	// ErrClosed: the client is closed.
	ErrClosed Code = C.PGQUE_ERROR_CLOSED
	// ErrTimeout: a time limit passed before the server answered.
	ErrTimeout          Code = C.PGQUE_ERROR_TIMEOUT
	ErrQueueNotFound    Code = C.PGQUE_ERROR_QUEUE_NOT_FOUND
	ErrConsumerNotFound Code = C.PGQUE_ERROR_CONSUMER_NOT_FOUND
	ErrBatchNotFound    Code = C.PGQUE_ERROR_BATCH_NOT_FOUND
	// ErrOverflow: the batch holds more messages than the caller's limit; nothing was advanced.
	ErrOverflow         Code = C.PGQUE_ERROR_OVERFLOW
	ErrPermissionDenied Code = C.PGQUE_ERROR_PERMISSION_DENIED
	// ErrInvalidInput: an argument is not acceptable.
	ErrInvalidInput Code = C.PGQUE_ERROR_INVALID_INPUT
	// ErrConflict: the call does not fit the present state of the object, or lost against a concurrent one.
	ErrConflict Code = C.PGQUE_ERROR_CONFLICT
	// ErrNotInstalled: the database has no usable pgque schema.
	ErrNotInstalled Code = C.PGQUE_ERROR_NOT_INSTALLED
	// ErrServer: any other error that the server reported.
	ErrServer Code = C.PGQUE_ERROR_SERVER
	// ErrInternal: a defect in the library.
	ErrInternal Code = C.PGQUE_ERROR_INTERNAL
	// ErrInterrupted: the context of the call ended the wait.
	ErrInterrupted Code = C.PGQUE_ERROR_INTERRUPTED
)

// The stable names; a test compares them with the library's.
var names = [...]string{
	ErrConnection:       "connection",
	ErrConfiguration:    "configuration",
	ErrClosed:           "closed",
	ErrTimeout:          "timeout",
	ErrQueueNotFound:    "queue_not_found",
	ErrConsumerNotFound: "consumer_not_found",
	ErrBatchNotFound:    "batch_not_found",
	ErrOverflow:         "overflow",
	ErrPermissionDenied: "permission_denied",
	ErrInvalidInput:     "invalid_input",
	ErrConflict:         "conflict",
	ErrNotInstalled:     "not_installed",
	ErrServer:           "server",
	ErrInternal:         "internal",
	ErrInterrupted:      "interrupted",
}

// Error is the name of the kind, for instance queue_not_found.
func (c Code) Error() string {
	if c < 1 || int(c) >= len(names) {
		return "unknown"
	}
	return names[c]
}

// Error is every failure of this library; get it with errors.As.
type Error struct {
	// Code is the number of the kind; a later library may know kinds that this package does not name.
	Code Code
	// Kind is its name, for instance queue_not_found.
	Kind string
	// Op is the operation that failed, for instance receive.
	Op      string
	Message string
	// SQLState, Detail and Hint are the server's; SQLState is empty if the server said nothing.
	SQLState string
	Detail   string
	Hint     string
	// Constraint is the one that was violated.
	Constraint string
	// Retriable says that the same call may succeed later without any change by the caller, or doing anything twice.
	Retriable bool
	// Uncertain says that it is not known whether the call took effect: to repeat it could do it twice.
	Uncertain bool
	// ConfiguredLimit is the caller's limit that an overflow exceeded, else nil.
	ConfiguredLimit *int64

	cause error
}

func (e *Error) Error() string {
	text := e.Op + ": " + e.Message
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

// Unwrap gives the kind, and the error of the context or of the caller's own connection, if that is the reason.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.Code}
	}
	return []error{e.Code, e.cause}
}

// failure takes over an error of C; nil for NULL.
func failure(err *C.pgque_error) error {
	if err == nil {
		return nil
	}
	return taken(err)
}

func taken(err *C.pgque_error) *Error {
	defer C.pgque_error_free(err)
	e := &Error{
		Code:       Code(C.pgque_error_kind(err)),
		Kind:       C.GoString(C.pgque_error_kind_name(err)),
		Op:         C.GoString(C.pgque_error_op(err)),
		Message:    C.GoString(C.pgque_error_message(err)),
		SQLState:   C.GoString(C.pgque_error_sqlstate(err)),
		Detail:     C.GoString(C.pgque_error_detail(err)),
		Hint:       C.GoString(C.pgque_error_hint(err)),
		Constraint: C.GoString(C.pgque_error_constraint(err)),
		Retriable:  bool(C.pgque_error_retriable(err)),
		Uncertain:  bool(C.pgque_error_is_uncertain(err)),
	}
	var limit C.int64_t
	if C.pgque_error_configured_limit(err, &limit) {
		n := int64(limit)
		e.ConfiguredLimit = &n
	}
	return e
}

// ours is an error that is found on this side of C.
func ours(code Code, op, message string) *Error {
	return &Error{Code: code, Kind: code.Error(), Op: op, Message: message}
}

func interrupted(op string, cause error) *Error {
	err := ours(ErrInterrupted, op, cause.Error())
	err.cause = cause
	return err
}
