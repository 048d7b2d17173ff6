//go:build web

package main

import (
	"io"
	"net/http"
	"os"
)

func serve(handle func([]byte) (string, error)) {
	panic(http.ListenAndServe(os.Getenv("WEBOFFICE_ADDR"), http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			sent, err := io.ReadAll(r.Body)
			answer := ""
			if err == nil {
				answer, err = handle(sent)
			}
			if err != nil {
				w.WriteHeader(http.StatusBadGateway)
			}
			_, _ = io.WriteString(w, answer)
		})))
}
