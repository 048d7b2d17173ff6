//go:build lambda

package main

import (
	"context"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

func serve(handle func([]byte) (string, error)) {
	lambda.Start(func(_ context.Context, event events.LambdaFunctionURLRequest) (
		*events.LambdaFunctionURLResponse, error) {
		body, err := handle([]byte(event.Body))
		return &events.LambdaFunctionURLResponse{StatusCode: 200, Body: body}, err
	})
}
