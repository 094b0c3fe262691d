// Package lambda runs functions in Go on a custom runtime (provided.al2023), with the standard library only.
//
// Where github.com/aws/aws-lambda-go can be had, that runs unchanged; this package is for where it can't.
package lambda

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const api = "/2018-06-01/runtime"

// Handler is a function: the event as it came and an answer that becomes JSON (json.RawMessage stays as it is).
type Handler func(ctx context.Context, event json.RawMessage) (any, error)

// Context is what a function can know of its invocation besides its deadline, which the context.Context has.
type Context struct {
	RequestID          string
	InvokedFunctionArn string
	TraceID            string
	// ClientContext and Identity are JSON as the caller sent it, and nil without.
	ClientContext json.RawMessage
	Identity      json.RawMessage
}

type key struct{}

// FromContext gives the invocation's Context.
func FromContext(ctx context.Context) (Context, bool) {
	invocation, ok := ctx.Value(key{}).(Context)
	return invocation, ok
}

// Start serves invocations for as long as the sandbox lives. A panic is told and ends the process, as with AWS's library.
func Start(handler Handler) {
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + api
	for {
		if err := serveOne(base, handler); err != nil {
			fmt.Fprintln(os.Stderr, "lambda:", err)
			os.Exit(1)
		}
	}
}

type document struct {
	Message    string  `json:"errorMessage"`
	Type       string  `json:"errorType"`
	StackTrace []frame `json:"stackTrace,omitempty"`
}

type frame struct {
	Path  string `json:"path"`
	Line  int    `json:"line"`
	Label string `json:"label"`
}

func serveOne(base string, handler Handler) error {
	next, err := http.Get(base + "/invocation/next")
	if err != nil {
		return err
	}
	event, err := io.ReadAll(next.Body)
	next.Body.Close()
	if err != nil || next.StatusCode != http.StatusOK {
		return fmt.Errorf("no next invocation: %s %v", next.Status, err)
	}
	invocation := contextOf(next.Header)
	os.Setenv("_X_AMZN_TRACE_ID", invocation.TraceID)
	path := base + "/invocation/" + invocation.RequestID
	ctx, cancel := context.WithDeadline(context.WithValue(context.Background(), key{}, invocation), deadline(next.Header))
	defer cancel()
	answer, failure := call(ctx, handler, event)
	if failure == nil {
		return post(path+"/response", "", answer)
	}
	if err := report(path+"/error", failure); err != nil {
		return err
	}
	if failure.StackTrace != nil {
		return errors.New("panic: " + failure.Message)
	}
	return nil
}

func contextOf(header http.Header) Context {
	raw := func(name string) json.RawMessage {
		if value := header.Get(name); value != "" {
			return json.RawMessage(value)
		}
		return nil
	}
	return Context{
		RequestID:          header.Get("Lambda-Runtime-Aws-Request-Id"),
		InvokedFunctionArn: header.Get("Lambda-Runtime-Invoked-Function-Arn"),
		TraceID:            header.Get("Lambda-Runtime-Trace-Id"),
		ClientContext:      raw("Lambda-Runtime-Client-Context"),
		Identity:           raw("Lambda-Runtime-Cognito-Identity"),
	}
}

func deadline(header http.Header) time.Time {
	ms, _ := strconv.ParseInt(header.Get("Lambda-Runtime-Deadline-Ms"), 10, 64)
	return time.UnixMilli(ms)
}

func call(ctx context.Context, handler Handler, event []byte) (answer []byte, failure *document) {
	defer func() {
		if panicked := recover(); panicked != nil {
			failure = &document{Message: fmt.Sprint(panicked), Type: typeName(panicked), StackTrace: stack()}
		}
	}()
	value, err := handler(ctx, event)
	if err == nil {
		answer, err = json.Marshal(value)
	}
	if err != nil {
		return nil, &document{Message: err.Error(), Type: typeName(err)}
	}
	return answer, nil
}

func typeName(value any) string {
	kind := reflect.TypeOf(value)
	if kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	return kind.Name()
}

// stack is the caller's, from the function that panicked on.
func stack() []frame {
	counters := make([]uintptr, 32)
	frames := runtime.CallersFrames(counters[:runtime.Callers(4, counters)])
	told := []frame{}
	for more := true; more; {
		var next runtime.Frame
		next, more = frames.Next()
		told = append(told, frame{Path: next.File, Line: next.Line, Label: next.Function[strings.LastIndex(next.Function, "/")+1:]})
	}
	return told
}

func report(url string, failure *document) error {
	body, err := json.Marshal(failure)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s\n", body)
	return post(url, failure.Type, body)
}

func post(url, errorType string, body []byte) error {
	request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if errorType != "" {
		request.Header.Set("Lambda-Runtime-Function-Error-Type", errorType)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, answer.Body)
	// An answer that is too large has been answered for us by the platform.
	if answer.StatusCode != http.StatusAccepted && answer.StatusCode != http.StatusRequestEntityTooLarge {
		return fmt.Errorf("%s was refused: %s", url, answer.Status)
	}
	return nil
}
