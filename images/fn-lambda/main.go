// Command fn-lambda is a function for AWS Lambda: it greets who its event names.
package main

import (
	"context"
	"errors"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Name string `json:"name"`
}

type greeting struct {
	Text    string `json:"text"`
	Request string `json:"request"`
}

func main() { lambda.Start(greet) }

func greet(ctx context.Context, e event) (*greeting, error) {
	if e.Name == "" {
		return nil, errors.New("no name")
	}
	g := &greeting{Text: "hello " + e.Name}
	if c, ok := lambdacontext.FromContext(ctx); ok {
		g.Request = c.AwsRequestID
	}
	return g, nil
}
