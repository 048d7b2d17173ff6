//go:build fc

package main

import (
	"context"

	"github.com/aliyun/fc-runtime-go-sdk/events"
	"github.com/aliyun/fc-runtime-go-sdk/fc"
)

func serve(handle func([]byte) (string, error)) {
	fc.Start(func(_ context.Context, event events.HTTPTriggerEvent) (*events.HTTPTriggerResponse,
		error) {
		body, err := handle([]byte(*event.Body))
		return &events.HTTPTriggerResponse{StatusCode: 200, Body: body}, err
	})
}
