/* page_style.h - the style sheet of every page. */
#ifndef QN_SERVICES_PROBE_PAGE_STYLE_H
#define QN_SERVICES_PROBE_PAGE_STYLE_H

extern const char qn__page_style[];

#endif
