package office

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"weboffice-functions/shared/weboffice"
)

// The actions that the stand-in knows.
const (
	Generate = "GenerateWebofficeToken"
	Refresh  = "RefreshWebofficeToken"
)

const (
	apiVersion = "2020-09-30"
	maxBody    = 1 << 20
)

// serveAPI answers one API request: proof, fault before the work, the work, fault after it.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	request := &Request{Time: s.options.Now(), ID: weboffice.NewRequestID(),
		Action: r.Header.Get("X-Acs-Action")}
	defer func() {
		s.options.Logger.Info("imm stand-in", "action", request.Action, "code", request.Code,
			"requestId", request.ID)
	}()
	var fault *Fault
	failure := s.verify(r, request)
	if failure == nil {
		fault = s.nextFault(request.Action)
	}
	if fault != nil && !fault.afterWork && fault.stays(r) {
		request.Code = fault.name
		s.locked(func() { s.ledger.record(request, fault.answers()) })
		fault.strike(w, r, request.ID, nil)
		return
	}
	work, status := s.generateTokens, http.StatusOK
	if request.Action == Refresh {
		work = s.refreshTokens
	}
	var result *tokens
	s.locked(func() {
		if failure == nil {
			result, failure = work(request, "http://"+r.Host)
		}
		if failure != nil {
			request.Code, status = failure.code, failure.status
		} else if fault != nil && fault.afterWork {
			status = fault.answers()
		}
		s.ledger.record(request, status)
	})
	switch {
	case failure != nil:
		write(w, failure.status, request.ID, failure.body(r.Host, request.ID))
	case fault != nil && fault.afterWork && fault.stays(r):
		fault.strike(w, r, request.ID, result)
	default:
		write(w, http.StatusOK, request.ID, result)
	}
}

// write answers with JSON.
func write(w http.ResponseWriter, status int, requestID string, body any) {
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.Header().Set("X-Acs-Request-Id", requestID)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// verify checks everything that is the same for all actions, and gives the request its parameters
// once its signature is right.
func (s *Server) verify(r *http.Request, request *Request) *apiError {
	if r.Method != http.MethodPost {
		return badRequest("UnsupportedHTTPMethod", "This http method is not supported.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		return badRequest("RequestTooLarge", "The body cannot be read, or is too large.")
	}
	parameters, failure := queryParameters(r.URL.RawQuery)
	if failure == nil {
		failure = s.authenticate(r, parameters, body)
	}
	if failure != nil {
		return failure
	}
	request.Parameters = parameters
	if r.Header.Get("X-Acs-Version") != apiVersion {
		return invalid("Version")
	}
	known := actions[request.Action]
	if known == nil {
		return &apiError{http.StatusNotFound, "InvalidAction.NotFound",
			"The specified action is not found."}
	}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		if known[name] == nil {
			return badRequest("InvalidParameter",
				fmt.Sprintf("%s has no parameter %q.", request.Action, name))
		}
	}
	// Both actions are documented with their parameters in the query, and the gateway reads no
	// others: what a body says is lost.
	if len(body) > 0 {
		return badRequest("InvalidParameter", request.Action+
			" takes its parameters in the query, not in a body.")
	}
	return nil
}

// queryParameters decodes a query in which each name may appear once.
func queryParameters(raw string) (map[string]string, *apiError) {
	values, err := url.ParseQuery(raw)
	parameters := make(map[string]string, len(values))
	for name, all := range values {
		parameters[name] = all[0]
		if len(all) > 1 {
			err = fmt.Errorf("parameter %q is given more than once", name)
		}
	}
	if err != nil {
		return nil, badRequest("InvalidParameter", "The query cannot be decoded: "+err.Error())
	}
	return parameters, nil
}

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
