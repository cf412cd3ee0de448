"""« Gestion entreprise » as an example portal: a site that knows Matricule through ``/v1`` and webhooks alone.

A handler is a plain function that a thread runs, and reads like this:

    def add(request: Request) -> Response:
        visitor = signed_in(request)                     # visitors.py: the manager, their company, its key
        form = read_form(request)                        # forms.py: checked against forged requests
        job = visitor.portal.enroll(visitor.contract, [...], key=form.key)
        return follow(job, then=f"/participants/ajout/fait?demande={job.id}")   # answers.py: a page until it is done

A page is ``page(request, "add.html", …)`` of view.py. Nothing of it is needed in production.
"""
