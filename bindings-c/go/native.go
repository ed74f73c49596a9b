package pgque

// #cgo pkg-config: libpgque
// #include <stdlib.h>
// #include <string.h>
// #include <pgque.h>
// #include "callbacks.h"
import "C"

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"unsafe"
)

// Once, before the first call that may wait: the library asks the callback whether that call's context is over.
var setInterrupt = sync.OnceFunc(func() {
	C.pgque_error_free(C.pgque_set_interrupt(C.pgque_interrupt_callback(C.pgque_go_interrupted)))
})

// native makes one call that may wait. It ends with the error of ctx soon after ctx is over; what the server was
// asked to do may be done all the same.
func native(ctx context.Context, op string, call func() *C.pgque_error) error {
	if err := ctx.Err(); err != nil {
		return interrupted(op, err)
	}
	setInterrupt()
	if ctx.Done() == nil {
		return failure(call())
	}
	// The library looks at a flag of the calling thread, so that the goroutine must stay on it.
	flag := C.pgque_go_flag_new()
	runtime.LockOSThread()
	before := C.pgque_go_watch(flag)
	stop := make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() {
		C.pgque_go_flag_set(flag)
		close(stop)
	})
	err := failure(call())
	C.pgque_go_watch(before)
	runtime.UnlockOSThread()
	if !unwatch() {
		<-stop // it runs, and still uses the flag
	}
	C.free(unsafe.Pointer(flag))
	if e, ok := err.(*Error); ok && e.Code == ErrInterrupted && ctx.Err() != nil {
		return interrupted(op, ctx.Err())
	}
	return err
}

// arguments are the copies that C reads during one call, and the first reason not to make it.
type arguments struct {
	op     string
	copies []unsafe.Pointer
	err    error
}

func newArguments(op string) *arguments {
	return &arguments{op: op}
}

func (a *arguments) free() {
	for _, pointer := range a.copies {
		C.free(pointer)
	}
}

func (a *arguments) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}

// take notes an error that C has for an argument, as one of this operation.
func (a *arguments) take(err *C.pgque_error) {
	if err != nil {
		e := taken(err)
		e.Op = a.op
		a.fail(e)
	}
}

// text is a name, which ends with NUL in C and must hold none.
func (a *arguments) text(name, text string) *C.char {
	if strings.IndexByte(text, 0) >= 0 {
		argument := C.CString(name)
		a.copies = append(a.copies, unsafe.Pointer(argument))
		a.take(C.pgque_text_check(argument, argument, pointer(text), C.size_t(len(text))))
	}
	copied := C.CString(text)
	a.copies = append(a.copies, unsafe.Pointer(copied))
	return copied
}

// maybeText is NULL for nil.
func (a *arguments) maybeText(name string, text *string) *C.char {
	if text == nil {
		return nil
	}
	return a.text(name, *text)
}

// bodies are texts with their lengths, NULL for nil, in one block of C memory.
func (a *arguments) bodies(texts []*string) (*C.pgque_bytes, C.size_t) {
	if len(texts) == 0 {
		return nil, 0
	}
	heads := len(texts) * C.sizeof_pgque_bytes
	size := heads
	for _, text := range texts {
		if text != nil {
			size += len(*text) + 1
		}
	}
	block := C.malloc(C.size_t(size))
	a.copies = append(a.copies, block)
	data := unsafe.Slice((*byte)(block), size)[heads:]
	views := unsafe.Slice((*C.pgque_bytes)(block), len(texts))
	for i, text := range texts {
		views[i] = C.pgque_bytes{}
		if text != nil {
			views[i].data = (*C.char)(unsafe.Pointer(unsafe.SliceData(data)))
			views[i].len = C.size_t(len(*text))
			// One byte more than the text keeps the pointer of an empty one inside of the block.
			data = data[copy(data, *text)+1:]
		}
	}
	return &views[0], C.size_t(len(texts))
}

var empty [1]byte

// pointer is for C to read during a call; never NULL, which would be SQL NULL.
func pointer(text string) *C.char {
	if text == "" {
		return (*C.char)(unsafe.Pointer(&empty[0]))
	}
	return (*C.char)(unsafe.Pointer(unsafe.StringData(text)))
}

// copied is nil for SQL NULL.
func copied(view C.pgque_bytes) *string {
	if view.data == nil {
		return nil
	}
	text := copiedText(view)
	return &text
}

func copiedText(view C.pgque_bytes) string {
	if view.len == 0 {
		return ""
	}
	return string(unsafe.Slice((*byte)(unsafe.Pointer(view.data)), int(view.len)))
}
