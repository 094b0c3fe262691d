// Command bootstrap answers what it was asked, and logs in whose context.
package main

import (
	"context"
	"encoding/json"
	"fmt"

	"hearth.invalid/lambda"
)

func main() {
	lambda.Start(func(ctx context.Context, event json.RawMessage) (any, error) {
		invocation, _ := lambda.FromContext(ctx)
		fmt.Println("answering", invocation.RequestID)
		return event, nil
	})
}
