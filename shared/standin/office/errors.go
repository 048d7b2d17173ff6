package office

import (
	"net/http"
	"net/url"
)

// apiError is an answer that refuses.
type apiError struct {
	status        int
	code, message string
}

func badRequest(code, message string) *apiError {
	return &apiError{http.StatusBadRequest, code, message}
}

func missing(parameter string) *apiError {
	return badRequest("Missing"+parameter, parameter+" is mandatory for this action.")
}

func invalid(parameter string) *apiError {
	return badRequest("Invalid"+parameter, "Specified parameter "+parameter+" is not valid.")
}

func argument(parameter, message string) *apiError {
	return badRequest("InvalidArgument."+parameter, message)
}

func notFound(resource string) *apiError {
	return &apiError{http.StatusNotFound, "ResourceNotFound", "The specified resource " + resource +
		" is not found"}
}

// body is the vendor's error body.
func (e *apiError) body(host, id string) map[string]string {
	return map[string]string{
		"RequestId": id, "HostId": host, "Code": e.code, "Message": e.message,
		"Recommend": "https://api.alibabacloud.com/troubleshoot?q=" + url.QueryEscape(e.code) +
			"&product=imm&requestId=" + id,
	}
}
