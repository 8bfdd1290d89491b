/* paths.h - where the libraries lie that are opened at first use (OpenBLAS).
 *
 * By default it is the folder `lib` beside the shared object (or the program) that contains this
 * code, which is where the wheel puts them.
 */
#ifndef FAC_BASE_PATHS_H
#define FAC_BASE_PATHS_H

#include "facula.h"

/* Without a slash at the end. Valid until the process ends. */
const char *fac_library_dir(void);
FacStatus fac_set_library_dir(const char *path) FAC_MUST_CHECK;

#endif
