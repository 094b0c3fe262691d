// Command bootstrap is what test_languages.py asks of every language, in Go.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"hearth.invalid/lambda"
)

// Broken is what it fails with.
type Broken struct {
	message string
	cause   error
}

func (b *Broken) Error() string { return b.message }
func (b *Broken) Unwrap() error { return b.cause }

type request struct {
	Do, Text, Message string
	Names             []string
	Size              int
}

func main() {
	if os.Getenv("AT_INIT") == "exit" {
		os.Exit(3)
	}
	lambda.Start(handle)
}

func handle(ctx context.Context, event json.RawMessage) (any, error) {
	var asked request
	if err := json.Unmarshal(event, &asked); err != nil {
		return nil, err
	}
	switch asked.Do {
	case "echo":
		return event, nil
	case "context":
		return told(ctx)
	case "environment":
		found := map[string]any{}
		for _, name := range asked.Names {
			found[name] = nil
			if value, ok := os.LookupEnv(name); ok {
				found[name] = value
			}
		}
		return found, nil
	case "log":
		fmt.Println("to stdout:", asked.Text)
		fmt.Fprintln(os.Stderr, "to stderr:", asked.Text)
	case "large":
		return strings.Repeat("x", asked.Size), nil
	case "raise":
		return nil, &Broken{asked.Message, nil}
	case "cause":
		return nil, &Broken{"outer", &Broken{"inner", nil}}
	case "exit":
		os.Exit(3)
	case "sleep":
		time.Sleep(time.Minute)
	case "memory":
		filled := make([]byte, 2<<30)
		for i := range filled {
			filled[i] = 1
		}
		return len(filled), nil
	}
	return nil, nil
}

func told(ctx context.Context) (any, error) {
	invocation, _ := lambda.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	var client struct {
		Custom, Env map[string]string
		Client      struct {
			Title string `json:"app_title"`
		}
	}
	if invocation.ClientContext != nil {
		if err := json.Unmarshal(invocation.ClientContext, &client); err != nil {
			return nil, err
		}
	}
	return map[string]any{
		"request_id":       invocation.RequestID,
		"function_name":    os.Getenv("AWS_LAMBDA_FUNCTION_NAME"),
		"function_version": os.Getenv("AWS_LAMBDA_FUNCTION_VERSION"),
		"arn":              invocation.InvokedFunctionArn,
		"memory_mb":        os.Getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
		"log_group":        os.Getenv("AWS_LAMBDA_LOG_GROUP_NAME"),
		"log_stream":       os.Getenv("AWS_LAMBDA_LOG_STREAM_NAME"),
		"left_ms":          time.Until(deadline).Milliseconds(),
		"custom":           client.Custom,
		"client_env":       client.Env,
		"title":            client.Client.Title,
	}, nil
}
