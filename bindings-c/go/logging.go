package pgque

// #include "callbacks.h"
import "C"

import (
	"context"
	"log/slog"
	"runtime/cgo"
)

// LevelTrace is the level of the finest lines.
const LevelTrace = slog.LevelDebug - 4

var levels = map[C.int32_t]slog.Level{
	C.PGQUE_LOG_ERROR: slog.LevelError,
	C.PGQUE_LOG_WARN:  slog.LevelWarn,
	C.PGQUE_LOG_INFO:  slog.LevelInfo,
	C.PGQUE_LOG_DEBUG: slog.LevelDebug,
	C.PGQUE_LOG_TRACE: LevelTrace,
}

// SetLogger sends the library's log lines to logger, in place of an earlier one, or to nobody with nil; each has its
// source in the attribute "logger": pgque, pgque.consumer.<name> or pgque.ticker. It holds for the whole process.
// Which levels the logger wants is asked once, now. The logger's handler must not call SetLogger.
func SetLogger(logger *slog.Logger) {
	finest := C.int32_t(0)
	for native, level := range levels {
		if logger != nil && logger.Enabled(context.Background(), level) && native > finest {
			finest = native
		}
	}
	var handle cgo.Handle
	if finest > 0 {
		handle = cgo.NewHandle(logger) // until C calls pgqueGoRelease
	}
	// It fails on a level that does not exist only.
	C.pgque_error_free(C.pgque_go_set_log(finest, C.uintptr_t(handle)))
}

//export pgqueGoLog
func pgqueGoLog(level C.int32_t, name, line *C.char, handle C.uintptr_t) {
	// A panic of the logger's handler must not run through the frames of C.
	defer func() { _ = recover() }()
	logger := cgo.Handle(handle).Value().(*slog.Logger)
	logger.LogAttrs(context.Background(), levels[level], C.GoString(line), slog.String("logger", C.GoString(name)))
}
