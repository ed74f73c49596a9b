package pgque

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// body is a payload on its way: JSON text, or opaque text, nil for SQL NULL.
type body struct {
	text   *string
	opaque bool
}

// written makes the text of a payload; whether a text is JSON is for the library to say.
func written(op, name string, payload any) (body, error) {
	switch payload := payload.(type) {
	case Text:
		return body{(*string)(&payload), true}, nil
	case *Text:
		return body{(*string)(payload), true}, nil
	case string:
		return body{text: &payload}, nil
	case []byte:
		text := string(payload)
		return body{text: &text}, nil
	case json.RawMessage:
		text := string(payload)
		return body{text: &text}, nil
	}
	text, err := marshalled(payload)
	if err != nil {
		failed := ours(ErrInvalidInput, op, fmt.Sprintf("%s is not valid JSON: %v", name, err))
		failed.cause = err
		return body{}, failed
	}
	return body{text: &text}, nil
}

func marshalled(value any) (string, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", err
	}
	text := strings.TrimSuffix(out.String(), "\n")
	// The encoder puts U+FFFD in place of what is not UTF-8, and says nothing.
	suspicious := strings.Contains(text, `\ufffd`) || strings.Contains(text, "\uFFFD")
	if suspicious && mangled(reflect.ValueOf(value)) {
		return "", fmt.Errorf("a string is not valid UTF-8")
	}
	return text, nil
}

// mangled looks for a string that is not UTF-8. The encoder has been through the value, so that it has an end.
func mangled(value reflect.Value) bool {
	if !value.IsValid() || writesItself(value) {
		return false
	}
	switch value.Kind() {
	case reflect.String:
		return !utf8.ValidString(value.String())
	case reflect.Pointer, reflect.Interface:
		return mangled(value.Elem())
	case reflect.Slice, reflect.Array:
		for i := 0; i < value.Len(); i++ {
			if mangled(value.Index(i)) {
				return true
			}
		}
	case reflect.Map:
		for entries := value.MapRange(); entries.Next(); {
			if mangled(entries.Key()) || mangled(entries.Value()) {
				return true
			}
		}
	case reflect.Struct:
		for i := 0; i < value.NumField(); i++ {
			field := value.Type().Field(i)
			if field.Tag.Get("json") != "-" && (field.IsExported() || field.Anonymous) && mangled(value.Field(i)) {
				return true
			}
		}
	}
	return false
}

// writesItself: what such a value holds is not what is written.
func writesItself(value reflect.Value) bool {
	if !value.CanInterface() {
		return false
	}
	switch value.Interface().(type) {
	case json.Marshaler, encoding.TextMarshaler:
		return true
	}
	return false
}
